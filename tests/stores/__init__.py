"""The real stores of the tests: Kafka, PostgreSQL, Redis and the package index, one each per pytest session."""
