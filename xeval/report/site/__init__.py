"""Many runs → a leaderboard as a folder of static pages."""
