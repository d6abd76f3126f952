"""What an operator sees of the engines: figures of a process, the view from Kafka, `crossdock engine`."""
