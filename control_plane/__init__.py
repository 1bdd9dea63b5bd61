"""The control plane: decides, remembers and serves. It never imports Ray."""
