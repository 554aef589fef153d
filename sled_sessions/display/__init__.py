"""How values look to people: HTML for notebooks, tables and text for terminals, masked secrets, plots, durations."""
