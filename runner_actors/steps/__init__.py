"""The steps of a deployment, one file each; `runner_actors.job` puts them in order."""
