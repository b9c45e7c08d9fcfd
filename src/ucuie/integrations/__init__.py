"""Ways into other libraries; each module needs the extra that it names, and only when it is used."""
