"""Zentra payments: from charge to settlement. The kernel packages; the five product apps stand beside it."""
