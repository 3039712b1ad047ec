"""What the worker touches: HTTP, uv, the disk, processes, Kafka."""
