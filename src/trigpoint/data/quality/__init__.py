"""What is wrong with a dataset: its problems, copies and changes among its images, swapped landmarks."""
