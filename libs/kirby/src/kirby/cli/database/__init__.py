"""Commands on the script database: jobs, environments, schedules and what belongs to them."""
