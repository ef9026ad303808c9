"""What changes no result is not computed: padding, the last layer of tokens that no head reads, unused vocabulary."""
