"""How things stand: facts gathered from vault, schedule and alert book; one report; metrics made of it."""
