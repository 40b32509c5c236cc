"""Text to speech on this machine: text into pieces, pieces into phones, phones into sound. Needs the extra `voice`."""
