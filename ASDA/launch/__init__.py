"""How does a run start? Recipes, batch plans, commands, torchrun; plain Python."""
