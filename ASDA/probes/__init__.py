"""What do the features of a frozen encoder know?"""
