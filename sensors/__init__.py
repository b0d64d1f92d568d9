"""What is measured, and what it means: devices, readings, data quality, detectors, alarms, and simulated devices."""
