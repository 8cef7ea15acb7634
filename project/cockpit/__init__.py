"""The admin as a cockpit: how everything is, on one page, and kept up to date there."""
