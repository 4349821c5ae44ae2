"""Values of the domain: tasks, models, recipes, schemes, pages, policies. Imports no third party."""
