"""What ticks: each loop has a run_once() and shares one driver."""
