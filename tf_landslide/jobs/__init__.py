"""What a command does, without its arguments' parsing: the way through all the floors below, once a job."""
