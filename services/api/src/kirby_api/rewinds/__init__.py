"""Rewinds as REST shows them: finding what is to be rewound, planning it, and the forms."""
