"""What happens to the answer, or to the process, when the input or the CPU changes?"""
