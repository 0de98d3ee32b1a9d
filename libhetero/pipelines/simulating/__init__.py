"""What a simulated set is made of, and what must be the same to go on with one."""
