

films