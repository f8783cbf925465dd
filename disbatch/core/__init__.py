"""What decides: pure modules that read no clock, file, socket, environment or random source."""
