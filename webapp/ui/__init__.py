"""What templates draw with (filters, charts, highlighted code), and the page that shows it all to developers."""
