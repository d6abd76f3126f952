"""django-oscar: web shop, through the admin part of django-oscar-api."""
