"""The tutorial connector: an invented shop with a JSON API, and everything a connector can declare."""
