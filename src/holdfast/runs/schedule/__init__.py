"""Jobs that start by themselves: a durable book of runs, a pure decision of what starts now, a service that starts it."""
