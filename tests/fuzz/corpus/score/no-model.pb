
user
