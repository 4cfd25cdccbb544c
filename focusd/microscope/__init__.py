"""Drivers: an asyncio shell round each wire protocol, behind one interface."""
