"""The only modules that know drivers."""
