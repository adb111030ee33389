"""The facts that `buildmap doctor` tells: the machine, the libraries, their maps, the network."""
