"""Weekly sales of every SKU in every store, forecast as quantiles for the coming weeks."""
