"""`make run`: the whole house on one machine, against a simulated exchange.

``python -m project.demo`` writes ``.env``, migrates and runs every process under honcho; the
command ``demo`` fills in a user, an account and strategies, and lets one stop be touched.
"""
