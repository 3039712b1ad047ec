"""The notifier's ports on real things: PostgreSQL, HTTP, SMTP, Kafka."""
