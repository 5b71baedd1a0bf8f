# the contract's sources
