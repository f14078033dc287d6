"""What `campaign-streams dev` has beside the worker: a broker, and a receiver of webhooks."""
