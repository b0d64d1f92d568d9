"""The vendor kit: the city is played against one device, and each clause of the contract judged."""
