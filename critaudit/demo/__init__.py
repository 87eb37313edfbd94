"""The small trained network that ships with critaudit, and the script that trained it."""
