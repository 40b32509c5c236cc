"""The virtual camera: a microphone or other speech in; pictures to a camera, and the voice, in step with them, to a device."""
