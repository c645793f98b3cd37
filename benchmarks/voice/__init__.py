"""What a speaker sees: partial and final transcripts, answers, interruptions; and how well answers are spoken."""
