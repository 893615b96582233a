"""Recording, live only: sniffers, counter sampler, conntrack events, host facts, the command that
is run."""
