"""How is the machine doing? Its use now and over the last minutes."""
