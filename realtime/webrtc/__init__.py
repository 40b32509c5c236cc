"""What is sent to and heard from a peer over WebRTC: aiortc with tracks, encoders and bounds of our own."""
