
films7