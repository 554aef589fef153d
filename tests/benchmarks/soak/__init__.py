"""Churn for hours, a kill, and what the files hold before and after."""
