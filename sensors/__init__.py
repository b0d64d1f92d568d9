"""What is measured, and what does it mean: devices, readings, data quality, detectors, alarms, and simulated devices."""
