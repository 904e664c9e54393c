"""What is trained after pre-training?"""
