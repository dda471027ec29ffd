

films