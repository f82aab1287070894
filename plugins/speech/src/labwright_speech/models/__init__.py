"""Networks from waveforms to classes and to transcripts."""
