"""Run logs: assembled from chunks on Kafka, read back by pointer, followed live."""
